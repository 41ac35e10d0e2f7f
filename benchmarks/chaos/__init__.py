"""The whole pipeline under kills, pauses, full disks and bad input; afterwards every event sent is accounted for."""
