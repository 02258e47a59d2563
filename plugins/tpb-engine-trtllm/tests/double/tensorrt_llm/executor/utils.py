"""Stand-in for tensorrt_llm.executor.utils."""


class RequestError(RuntimeError):
    """An error of one request."""
