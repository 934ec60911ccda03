"""Campaigns: configuration, the loop, the store, the executors that train candidates. Import the module you need."""
