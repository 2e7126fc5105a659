import json

driver_module = json

def init():
    pass

def run(data):
    return "own run"
