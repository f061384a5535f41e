"""Clients that check every byte and measure: `python -m coloproxy.lab.clients ORDER`, see `__main__`."""
