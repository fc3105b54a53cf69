"""Serve a checkpoint over HTTP: `python scripts/serve.py best.ckpt`, then POST images to /predict.

    curl --data-binary @ant.jpg http://127.0.0.1:8000/predict

Needs `pip install 'tltool[serve]'`.
"""

import sys
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool

import tltool


def make_app(checkpoint: str) -> FastAPI:
    """Return an application that predicts the class of the images that are sent to it."""
    predictor, app = tltool.load(checkpoint), FastAPI(title="tltool")

    @app.get("/")
    def about() -> dict[str, Any]:
        return {"model": repr(predictor), "classes": predictor.class_names}

    @app.post("/predict")
    async def predict(request: Request) -> dict[str, Any]:
        image = await request.body()
        try:
            found = await run_in_threadpool(predictor.predict, image)
        except ValueError as error:  # What was sent is no image.
            raise HTTPException(422, str(error)) from error
        return {"label": found.label, "probabilities": found.probabilities}

    return app


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(make_app(sys.argv[1]), host="127.0.0.1", port=8000)
