"""Shows that what is served scores, inside the image it was put into: ``python -m scoring.selftest
BUNDLE``. Nothing is imported here, since each module of an import check comes from here too."""
