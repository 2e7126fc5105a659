# -*- coding: utf-8 -*-
def init():
    global předpona
    předpona = "Příliš "

def run(data):
    return {"odpověď": předpona + data, "délka": len(data)}
