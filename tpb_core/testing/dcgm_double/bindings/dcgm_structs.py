"""Stand-in for DCGM's module of this name: the constants and errors that its callers use."""

DCGM_OPERATION_MODE_AUTO = 1
DCGM_OPERATION_MODE_MANUAL = 2
DCGM_ST_OK = 0
DCGM_ST_CONNECTION_NOT_VALID = -21


class DCGMError(Exception):
    """An error code of the library."""

    def __init__(self, value: int) -> None:
        super().__init__(value)
        self.value = value

    def __str__(self) -> str:
        return (
            "The connection to the host engine is not valid any longer" if self.value == DCGM_ST_CONNECTION_NOT_VALID else str(self.value)
        )
