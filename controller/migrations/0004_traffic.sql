-- Blue and green: the set of hosts that has the traffic.
ALTER TABLE environments ADD COLUMN live_set TEXT;
