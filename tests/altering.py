"""Recordings taken apart and put together again: the tools of somebody who alters one."""

import json
from dataclasses import dataclass

from mcap.reader import make_reader
from mcap.writer import Writer

from sonosteer.recording.hash_chain import ChainLink, HashChain, channel_digest
from sonosteer.recording.run_topics import PROFILE, VERSION, schema_of


@dataclass
class Written:
    """A message as it lies in the file. data: with its digest, if it has one."""

    topic: str
    number: int
    log_ns: int
    data: bytes

    @property
    def said(self):
        """What it says, without its digest."""
        return {k: v for k, v in json.loads(self.data).items() if k != "chain"}

    def saying(self, **changed):
        """The same message with other fields. Its digest stays as it was."""
        text = json.dumps(json.loads(self.data) | changed, separators=(",", ":"))
        return Written(self.topic, self.number, self.log_ns, text.encode())


def taken_apart(path):
    with path.open("rb") as f:
        found = make_reader(f).iter_messages(log_time_order=False)
        return [Written(c.topic, m.sequence, m.log_time, m.data) for _, c, m in found]


def put_together(path, messages, *, chained=False, profile=f"{PROFILE}/{VERSION}", library="sonosteer", chunks=True):
    """Write them with right checksums. chained: numbers and digests are made anew, as sonosteer makes them."""
    chain, channels, digests = HashChain(), {}, {}
    with path.open("wb") as f:
        writer = Writer(f, use_chunking=chunks, enable_data_crcs=True)
        writer.start(profile, library)
        for k, m in enumerate(messages):
            if m.topic not in channels:
                name, schema = schema_of(m.topic)
                channels[m.topic] = writer.register_channel(
                    m.topic, "json", writer.register_schema(name, "jsonschema", schema)
                )
                digests[m.topic] = channel_digest(m.topic, "json", name, "jsonschema", schema)
            number, data = m.number, m.data
            if chained:
                number, body = k, json.dumps(m.said, separators=(",", ":")).encode()
                data = chain.sealed(ChainLink(number, m.log_ns, m.log_ns, digests[m.topic]), body)
            writer.add_message(channels[m.topic], m.log_ns, data, m.log_ns, number)
        writer.finish()


def counted(messages):
    """The messages with a closing one that counts them."""
    counts = {}
    for m in messages[:-1]:
        counts[m.topic] = counts.get(m.topic, 0) + 1
    return [*messages[:-1], messages[-1].saying(counts=counts)]
