WHO = "user's tests"
