import logging

def init():
    logging.getLogger("mine").warning("configured by file")

def run(data):
    logging.getLogger("mine").info("not shown")
    return data
