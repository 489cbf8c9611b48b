"""Record the sound that a page plays in a real browser, while its scripts run slowly."""

from __future__ import annotations

from typing import Any

import numpy as np

# A script for a page. It copies everything that reaches the loudspeaker to `recorded`; a worklet loses no sample.
# Each fade takes the script 50 ms, as on a busy machine, so that the sound moves on before the next fade is set.
RECORD = """
window.recorded = [];
const connect = AudioNode.prototype.connect;
const source = `registerProcessor("recorder", class extends AudioWorkletProcessor {
  process([input]) { if (input.length) this.port.postMessage(input[0].slice()); return true; }
})`;
const resume = AudioContext.prototype.resume;
AudioContext.prototype.resume = async function () {
  if (!window.loudspeakerTap) {
    await this.audioWorklet.addModule("data:text/javascript," + encodeURIComponent(source));
    window.loudspeakerTap = new AudioWorkletNode(this, "recorder");
    window.loudspeakerTap.port.onmessage = ({ data }) => window.recorded.push(...data);
    window.rate = this.sampleRate;
  }
  return resume.call(this);
};
AudioNode.prototype.connect = function (target, ...rest) {
  if (target instanceof AudioDestinationNode) connect.call(this, window.loudspeakerTap);
  return connect.call(this, target, ...rest);
};
const fade = AudioParam.prototype.setTargetAtTime;
AudioParam.prototype.setTargetAtTime = function (...values) {
  fade.apply(this, values);
  for (const until = performance.now() + 50; performance.now() < until;);
  return this;
};
"""


def recorded(page: Any) -> tuple[np.ndarray, int]:
    """Return what was heard from the first sample on, and the rate in Hz."""
    audio = np.array(page.evaluate("recorded"))
    return audio[np.argmax(audio != 0) :], page.evaluate("rate")


def tone_share(audio: np.ndarray, rate_hz: int, frequency_hz: float) -> float:
    """Return the share of the power that is one sine."""
    phase = 2 * np.pi * frequency_hz * np.arange(len(audio)) / rate_hz
    basis = np.stack([np.sin(phase), np.cos(phase)], axis=1)
    fitted = basis @ np.linalg.lstsq(basis, audio, rcond=None)[0]
    return float(1 - np.sum((audio - fitted) ** 2) / np.sum(audio**2))
