"""
All that knows Onehouse: the client, credentials and the files they come from, the wire format.
"""
