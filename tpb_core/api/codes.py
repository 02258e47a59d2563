"""The closed lists of codes: why something is NULL, and what happened in a run. Part of the bundle format.

`docs/reference/codes.md` is generated from here. A bundle made by another program may carry codes of its own when they start with `x_`.
"""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """A string code with the sentence that explains it."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Code:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member


class Reason(Code):
    """Why a figure is NULL (or, for `no_permission` and its like, why a meter does not work here)."""

    NO_SENSOR = "no_sensor", "no sensor of this scope can be read on this machine"
    NO_PERMISSION = "no_permission", "the sensor exists but this user may not read it"
    NOT_INSTALLED = "not_installed", "a library or program that is needed is not installed"
    UNSUPPORTED = "unsupported", "the device or its driver does not offer this reading"
    METER_FAILED = "meter_failed", "the meter raised an error of its own; the text beside it says which"
    NOT_OURS = "not_ours", "the engine is a server that we did not start, so its CPU time cannot be told from that of others"
    DISAGREES_WITH_CLOCK = "disagrees_with_clock", "the meter works in real time and the run in virtual time, or the other way round"
    NOT_CONFIGURED = "not_configured", "the meter needs an option (an address, a file, a command) that was not given"
    UNREACHABLE = "unreachable", "the address that was given does not answer"
    NO_READING = "no_reading", "the channel was announced but delivered no usable reading in the window"
    GAP = "gap", "holes in the primary channel cover more than 1 % of the window"
    WINDOW_TOO_SHORT = "window_too_short", "the window is too short for the refresh period of the meter"
    NOT_BRACKETED = "not_bracketed", "the window is not enclosed by samples on both sides"
    STALE_INTERVAL = "stale_interval", "the source refreshes more slowly than the window is long"
    STUCK_SENSOR = "stuck_sensor", "the sensor kept one value while the load changed"
    AVERAGING_UNKNOWN = "averaging_unknown", "the averaging time of the power reading is not known, so phases cannot be told apart"
    NO_CALIBRATION_DATA = "no_calibration_data", "nothing is known of the gain and offset errors of this sensor"
    NO_IDLE_WINDOW = "no_idle_window", "the run has no idle window from which static power could be told"
    NO_STEP_LOG = "no_step_log", "the engine does not say what each of its iterations processed"
    NO_MEMBERS = "no_members", "the step log does not say which requests took part in a step"
    MIXED_STEPS = "mixed_steps", "steps that process prefill and decode together cannot be split by this method"
    NOT_RESOLVABLE = "not_resolvable", "the meter of this domain does not resolve phases"
    UNCERTAINTY_TOO_LARGE = "uncertainty_too_large", "the uncertainty of the phase exceeds the stated share of the window"
    NO_TOKENS = "no_tokens", "no output token was emitted in the window"
    TOKENS_NOT_RESOLVED = "tokens_not_resolved", "a request straddles the window and its tokens have no stamps"
    NO_TOKEN_STAMPS = "no_token_stamps", "the engine gives no time stamps for single tokens"
    NO_REQUESTS = "no_requests", "no request finished in the window"
    NOT_DUE = "not_due", "the load shape has no due times, so this figure does not apply"
    NOT_ALLOCATED = "not_allocated", "the device was not used by the run"
    MIG_SLICE = "mig_slice", "the run owns a slice of the device and power is known for the whole board only"
    DOMAIN_MISSING = "domain_missing", "a domain with a primary channel has no figure, so a sum over domains is not known"
    NOT_REPORTED = "not_reported", "the imported source states totals without samples, and not this one"
    STATUS_PARTIAL = "status_partial", "the run was cut off before this could be measured"
    METHOD_REFUSED = "method_refused", "the attribution method's preconditions do not hold for this bundle"
    NOT_SPLIT = "not_split", "this method gives totals only, it does not split them into phases"
    NOT_ATTRIBUTED = "not_attributed", "no attributor was applied to the bundle yet (`tpb attribute` does)"
    NOT_ASKED = "not_asked", "the figure was switched off in the configuration"


class EventCode(Code):
    """What happened during a run, in `events.parquet`."""

    RUN_STARTED = "run_started", "the session began"
    RUN_FINISHED = "run_finished", "the session ended as planned"
    INTERRUPTED = "interrupted", "the user or the system asked the session to stop"
    SESSION_LOST = "session_lost", "the session process vanished; the guardian finished the bundle"
    ENGINE_LOST = "engine_lost", "the engine worker vanished"
    ENGINE_ERROR = "engine_error", "the engine raised an error"
    SAMPLER_LOST = "sampler_lost", "the sampler process vanished"
    DISK_FULL = "disk_full", "a stream could not be written"
    BUNDLE_RECOVERED = "bundle_recovered", "the bundle was finished after the fact from its spool"
    STREAM_TRUNCATED = "stream_truncated", "a stream ends without its end mark; whole batches were kept"
    METER_UNAVAILABLE = "meter_unavailable", "a meter that was asked for or tried does not work here"
    METER_ERROR = "meter_error", "a reading failed"
    METER_DISAGREEMENT = "meter_disagreement", "two channels of one domain disagree by more than their uncertainties allow"
    COUNTER_RESET = "counter_reset", "an energy counter fell by more than a wrap can explain"
    COUNTER_WRAP = "counter_wrap", "an energy counter wrapped round"
    DOUBLE_WRAP_POSSIBLE = "double_wrap_possible", "readings lie so far apart that a counter may have wrapped more than once"
    GAP = "gap", "a channel has a hole"
    ZERO_GLITCH = "zero_glitch", "a reading of zero was discarded"
    STUCK_SENSOR = "stuck_sensor", "a sensor did not change while the load did"
    TICKS_MISSED = "ticks_missed", "the sampler was late for one or more readings"
    CLOCK_STEPPED = "clock_stepped", "the realtime clock was stepped during the run"
    STEPS_SERIALISED = "steps_serialised", "overlapping host stamps of steps were serialised when written"
    OPTIONS_DIFFER = "options_differ", "the engine uses another value than the one requested"
    TOKENS_DIFFER = "tokens_differ", "engine, server and tokenizer disagree on a number of tokens"
    TIMES_UNKNOWN = "times_unknown", "the engine's own times of requests could not be put on the run clock, and are NULL"
    REQUEST_FAILED = "request_failed", "a request ended with an error, a time-out, a cancellation or a rejection"
    PREFIX_REUSED = "prefix_reused", "the engine reused cached prompt tokens although it was asked not to"
    FOREIGN_PROCESS = "foreign_process", "a process that is not ours uses a device of the run"
    DEVICE_UNUSED = "device_unused", "the machine has a device that the run did not use"
    THROTTLED = "throttled", "a device lowered its clocks because of heat or a power brake"
    GATE_FAILED = "gate_failed", "a gate before or between runs did not open in time"
    POWER_LIMIT_SET = "power_limit_set", "a power limit or clock lock was set by the run"
    POWER_LIMIT_RESTORED = "power_limit_restored", "a power limit or clock lock was put back"
    CLIENT_LATE = "client_late", "requests were sent later than the load shape wanted"
    INGESTION_DEFERRED = "ingestion_deferred", "the database was locked; the bundle waits for `tpb ingest`"
    HOOK_FAILED = "hook_failed", "a listener raised an error"
