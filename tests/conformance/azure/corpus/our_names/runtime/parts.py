WHO = "user's runtime"
