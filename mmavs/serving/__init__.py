"""The page and the HTTP service of ``mmavs serve``: Gradio in front, and a pool of worker processes that segment."""
