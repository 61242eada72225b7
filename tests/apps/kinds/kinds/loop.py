"""A command that runs for ever, as the consumers of teams do."""

import sys
import time

print("looping as", sys.argv[1], flush=True)
while True:
    time.sleep(0.2)
