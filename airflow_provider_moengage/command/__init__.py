"""The command ``moengage``: look at elements before they are sent, and at what earlier runs have left."""
