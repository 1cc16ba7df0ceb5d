"""The steps that touch the network, one file per protocol; they observe and leave the reading to core."""
