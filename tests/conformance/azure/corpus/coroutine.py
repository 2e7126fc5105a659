def init():
    pass

async def run(data):
    return data
