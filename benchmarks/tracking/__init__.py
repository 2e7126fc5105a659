"""What the tracker costs: points a second, writers that lose nothing, and lists at full size."""
