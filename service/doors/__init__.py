"""How the outside comes in: parse, call the flow, render."""
