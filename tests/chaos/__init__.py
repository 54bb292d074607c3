"""Bill runs under attack: workers, servers and messages are killed, and not one day may be billed twice or missed."""
