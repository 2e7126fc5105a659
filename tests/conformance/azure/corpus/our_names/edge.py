def side():
    return "user's edge"
