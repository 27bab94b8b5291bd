"""What a figure is a ratio of: the price, in the same run, of the least that could be done instead."""
