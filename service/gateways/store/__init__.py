"""All SQL of the service: static text, each beside the one function that runs it.

The functions take a connection first and never begin or end a transaction: the step that calls them does.
"""
