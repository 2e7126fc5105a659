"""Which files models may have."""
