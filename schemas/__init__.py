"""The contracts: records, subjects, streams, tables and errors. Pure Python; imports none of our code."""
