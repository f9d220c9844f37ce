import json
import sys
import time


def init():
    global calls
    calls = 0


def run(data):
    asked = json.loads(data)
    do = asked.get("do") if isinstance(asked, dict) else None
    if do == "raise":
        raise ValueError("a detail for the log alone")
    if do == "nothing":
        return None
    if do == "object":
        return object()
    if do == "text":
        return "text"
    if do == "exit":
        sys.exit("an end")
    if do == "sleep":
        time.sleep(60)
    if do == "size":
        return len(data)
    return {"got": asked}
