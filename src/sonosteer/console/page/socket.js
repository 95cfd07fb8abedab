// The one WebSocket. Pictures are acknowledged by whoever draws them. It connects again by itself and re-sends nothing.
const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 3000;

export class Socket {
  /** on: {picture(header, bytes), word(message), open(), closed()} */
  constructor(on) {
    this.on = on;
    this.answers = new Map();
    this.next = 1;
    this.wait = FIRST_WAIT_MS;
    this.tab = sessionStorage.getItem("tab") || crypto.randomUUID().slice(0, 8);
    sessionStorage.setItem("tab", this.tab);
    this.connect();
  }

  connect() {
    const web = new WebSocket(`ws://${location.host}/ws?tab=${this.tab}`);
    web.binaryType = "arraybuffer";
    web.onopen = () => { this.wait = FIRST_WAIT_MS; this.on.open(); };
    web.onmessage = (event) => this.hear(event.data);
    web.onclose = () => {
      for (const answer of this.answers.values()) answer({ ok: false, gone: true, reason: "the console does not answer" });
      this.answers.clear();
      this.on.closed();
      if (this.ended) return; // what was served is over
      setTimeout(() => this.connect(), this.wait);
      this.wait = Math.min(LONGEST_WAIT_MS, 2 * this.wait);
    };
    this.web = web;
  }

  hear(data) {
    if (typeof data !== "string") {
      const length = new DataView(data).getUint32(0, true);
      const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
      this.on.picture(header, new Uint8Array(data, 4 + length));
      return;
    }
    const message = JSON.parse(data);
    if (message.t === "said" && this.answers.has(message.id)) {
      this.answers.get(message.id)(message);
      this.answers.delete(message.id);
      return;
    }
    this.on.word(message);
  }

  get open() { return this.web.readyState === WebSocket.OPEN; }

  /** Send a word that has no answer. */
  send(t, fields = {}) {
    if (this.open) this.web.send(JSON.stringify({ t, ...fields }));
  }

  /** Send a word and wait for its answer: {ok, reason, ...}. It never throws. */
  ask(t, fields = {}) {
    if (!this.open) return Promise.resolve({ ok: false, gone: true, reason: "the console does not answer" });
    const id = this.next++;
    return new Promise((done) => {
      this.answers.set(id, done);
      this.send(t, { id, ...fields });
    });
  }
}
