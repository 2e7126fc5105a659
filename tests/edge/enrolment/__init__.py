"""Tests of certificates, and of what they keep out."""
