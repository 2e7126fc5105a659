import sys

def init():
    pass

def run(data):
    import __main__
    return {"name": __name__, "file": __file__.endswith("names.py"), "module": run.__module__,
            "in_modules": "entry_module" in sys.modules}
