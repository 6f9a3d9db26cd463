// Byte-pair encoding step by step on a text that the reader types.
const WORDS = /'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu; // GPT-2's cut into words
const COLORS = ["#cfe3f3", "#f6d3d8", "#d3ead5", "#f9e6c2", "#e0d6ec", "#dbe0e4"];

// The printable stand-in of each byte, as in GPT-2's vocabulary.
function alphabet() {
  const printable = [[33, 126], [161, 172], [174, 255]];
  const letters = [];
  let next = 256;
  for (let byte = 0; byte < 256; byte++) {
    const shown = printable.some(([low, high]) => low <= byte && byte <= high);
    letters.push(String.fromCodePoint(shown ? byte : next++));
  }
  return letters;
}

const LETTERS = alphabet();
const BYTES = new Map(LETTERS.map((letter, byte) => [letter, byte]));

// A token as readers see it: text where its bytes are text, otherwise the bytes.
export function readable(token) {
  const bytes = Uint8Array.from(token, (letter) => BYTES.get(letter));
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return text.replace(/ /g, "␣").replace(/\n/g, "⏎").replace(/\t/g, "⇥");
  } catch {
    return [...bytes].map((byte) => `<${byte.toString(16).toUpperCase().padStart(2, "0")}>`).join("");
  }
}

// Every state of a text: its words as lists of tokens, and the pair that is merged next.
export function steps(text, ranks) {
  const spelled = (word) => [...new TextEncoder().encode(word)].map((byte) => LETTERS[byte]);
  let words = (text.match(WORDS) || []).map(spelled);
  const states = [];
  for (;;) {
    let best = null;
    for (const word of words)
      for (let i = 0; i + 1 < word.length; i++) {
        const rank = ranks.get(`${word[i]} ${word[i + 1]}`);
        if (rank !== undefined && (best === null || rank < best.rank)) best = { rank, pair: [word[i], word[i + 1]] };
      }
    states.push({ words, next: best });
    if (best === null) return states;
    words = words.map((word) => merged(word, best.pair));
  }
}

function merged(word, [left, right]) {
  const out = [];
  for (let i = 0; i < word.length; i++)
    if (word[i] === left && word[i + 1] === right) out.push(word[i++] + word[i]);
    else out.push(word[i]);
  return out;
}

function color(token) {
  let sum = 0;
  for (const letter of token) sum = (sum * 31 + letter.codePointAt(0)) % 9973;
  return COLORS[sum % COLORS.length];
}

export function start(box, pairs) {
  const ranks = new Map(pairs.map((pair, rank) => [pair, rank]));
  const [text, slider] = box.querySelectorAll("input");
  const [back, forward] = box.querySelectorAll("button");
  const row = box.querySelector("ol"), status = box.querySelector("[role=status]");
  let states = [];

  function draw() {
    const state = states[Number(slider.value)];
    const pair = state.next ? state.next.pair : [];
    row.replaceChildren();
    for (const word of state.words)
      word.forEach((token, i) => {
        const item = document.createElement("li");
        const first = token === pair[0] && word[i + 1] === pair[1];
        const second = token === pair[1] && word[i - 1] === pair[0];
        item.textContent = readable(token);
        item.style.cssText =
          `background:${color(token)};color:#111;border-radius:.25em;padding:.1em .3em;font-family:monospace;` +
          `white-space:pre;outline:${first || second ? "2px solid #c0282d" : "none"};margin:.15em ${i + 1 === word.length ? ".5em" : ".1em"} .15em .1em`;
        row.append(item);
      });
    const count = state.words.reduce((sum, word) => sum + word.length, 0);
    const done = `${slider.value} of ${states.length - 1} merges done, ${count} tokens.`;
    const next = state.next
      ? `Next: ${readable(pair[0])} and ${readable(pair[1])} become ${readable(pair.join(""))}, merge ${state.next.rank + 1} of ${pairs.length}.`
      : "No pair of neighbours is left that was ever merged in training.";
    status.textContent = `${done} ${next}`;
    slider.setAttribute("aria-valuetext", done);
    back.disabled = slider.value === "0";
    forward.disabled = state.next === null;
  }

  function type() {
    const kept = Math.min(Number(slider.value), (states = steps(text.value, ranks)).length - 1);
    slider.max = String(states.length - 1);
    slider.value = String(kept);
    draw();
  }

  const move = (by) => () => ((slider.value = String(Number(slider.value) + by)), draw());
  text.addEventListener("input", type);
  slider.addEventListener("input", draw);
  back.addEventListener("click", move(-1));
  forward.addEventListener("click", move(1));
  type();
}
