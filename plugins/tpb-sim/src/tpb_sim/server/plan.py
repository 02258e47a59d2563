"""What the next step of a server does, and for whom."""

from __future__ import annotations

from dataclasses import dataclass, field

from tpb_sim.cost import Work
from tpb_sim.server.sequence import Sequence


@dataclass(slots=True)
class Plan:
    """One step before it runs. The lists are parallel, prefill members first."""

    sequences: list[Sequence] = field(default_factory=list)
    request: list[int] = field(default_factory=list)
    prefill: list[int] = field(default_factory=list)
    decode: list[int] = field(default_factory=list)
    emitted: list[int] = field(default_factory=list)
    kv: list[int] = field(default_factory=list)
    prefill_tokens: int = 0
    prefill_kv_tokens: int = 0
    prefill_pairs: int = 0
    decode_tokens: int = 0
    kv_tokens: int = 0
    emitted_tokens: int = 0
    recomputed_tokens: int = 0
    draft_tokens: int = 0
    accepted_tokens: int = 0
    prefill_padding_tokens: int = 0
    decode_padding_tokens: int = 0

    def add_prefill(self, sequence: Sequence, chunk: int) -> None:
        """Compute the next `chunk` prompt positions of a sequence; its token comes out where these are the last ones."""
        held, last = sequence.kv, chunk == sequence.todo
        self._append(sequence, chunk, 0, int(last), held)
        self.prefill_tokens += chunk
        self.prefill_kv_tokens += held
        self.prefill_pairs += chunk * held + chunk * (chunk + 1) // 2
        self.emitted_tokens += last
        self.recomputed_tokens += sequence.recomputed_in(chunk)

    def add_decode(self, sequence: Sequence, positions: int = 1, emitted: int = 1) -> None:
        """Compute `positions` positions behind what a sequence holds, of which `emitted` come out as tokens."""
        self._append(sequence, 0, positions, emitted, sequence.kv)
        self.decode_tokens += positions
        self.kv_tokens += sequence.kv
        self.emitted_tokens += emitted
        self.draft_tokens += positions - 1
        self.accepted_tokens += emitted - 1

    def add_decoding(self, sequences: list[Sequence]) -> None:
        """One token for each of many sequences: the common case, without the overhead of `add_decode`."""
        count = len(sequences)
        held = [sequence.kv for sequence in sequences]
        self.sequences += sequences
        self.request += [sequence.request for sequence in sequences]
        self.prefill += [0] * count
        self.decode += [1] * count
        self.emitted += [1] * count
        self.kv += held
        self.decode_tokens += count
        self.kv_tokens += sum(held)
        self.emitted_tokens += count

    def _append(self, sequence: Sequence, prefill: int, decode: int, emitted: int, kv: int) -> None:
        self.sequences.append(sequence)
        self.request.append(sequence.request)
        self.prefill.append(prefill)
        self.decode.append(decode)
        self.emitted.append(emitted)
        self.kv.append(kv)

    def drafting(self) -> Plan:
        """What a draft model does before this step: the drafted positions of each decoding sequence, none of which comes out yet."""
        draft = Plan()
        for sequence, positions, held in zip(self.sequences, self.decode, self.kv, strict=True):
            if positions > 1:
                draft._append(sequence, 0, positions - 1, 0, held)
                draft.decode_tokens += positions - 1
                draft.kv_tokens += held
        return draft

    @property
    def work(self) -> Work:
        """What the cost model needs to know."""
        return Work(
            self.prefill_tokens, self.prefill_kv_tokens, self.prefill_pairs, self.decode_tokens, self.kv_tokens,
            self.prefill_padding_tokens, self.decode_padding_tokens,
        )  # fmt: skip

    def begin(self, now_ns: int) -> None:
        """The step starts: its sequences can no longer be removed until it ends."""
        for sequence in self.sequences:
            sequence.running = True
            if sequence.started_ns is None:
                sequence.started_ns = now_ns

    def finish(self) -> None:
        """The step is over: caches have grown, tokens are out."""
        for sequence, prefill, emitted in zip(self.sequences, self.prefill, self.emitted, strict=True):
            sequence.running = False
            sequence.emitted += emitted
            if prefill:
                sequence.kv += prefill
                sequence.todo -= prefill
                sequence.prefilled += prefill
            else:
                sequence.kv += emitted
