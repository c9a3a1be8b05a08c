"""The console: pages for people, rendered here, live where the browser runs scripts, readable where it does not."""
