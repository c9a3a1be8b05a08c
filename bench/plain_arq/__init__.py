"""What this service is compared with: the arq worker that one writes first."""
