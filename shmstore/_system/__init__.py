"""The machine: its limits, the files of /proc and /sys, and what they tell about failures."""
