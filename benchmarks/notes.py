"""Write General MIDI notes of other instruments as WAV files, for ``quality.py --notes``.

    apt-get install fluidsynth fluid-soundfont-gm
    python benchmarks/notes.py notes/
    python benchmarks/quality.py --notes notes/

FluidSynth plays one MIDI file with all notes, without reverb and chorus. Each note begins a new file.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

import numpy as np

PROGRAMS = 120  # the last eight of General MIDI are sound effects
PITCHES = (36, 84)  # MIDI notes, from C2 to C6, that the synth's oscillators reach
VELOCITY = 100
HELD_S, NOTE_S = 1.2, 4.0  # held like the synth's note; the next one begins when this one has ended
SAMPLE_RATE_HZ, KEPT_S = 44_100, 2.0
TICKS_PER_S = 960  # 480 ticks a quarter note, at MIDI's default of 120 quarter notes a minute
SOUND_FONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")


def main() -> None:
    """Render the notes and cut them into files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder to write to")
    parser.add_argument("--notes", type=int, default=200, help="number of notes (default: %(default)s)")
    parser.add_argument("--sound-font", type=Path, default=SOUND_FONT, help="SF2 file (default: %(default)s)")
    arguments = parser.parse_args()
    if not shutil.which("fluidsynth") or not arguments.sound_font.is_file():
        sys.exit(f"fluidsynth and {arguments.sound_font} are needed: apt-get install fluidsynth fluid-soundfont-gm")
    notes = choose_notes(arguments.notes)
    audio = play(midi_file(notes), arguments.sound_font)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    silent = 0
    for number, (program, pitch) in enumerate(notes):
        start = round(number * NOTE_S * SAMPLE_RATE_HZ)
        note = audio[start : start + round(KEPT_S * SAMPLE_RATE_HZ)]
        if note.any():
            write_wav(arguments.folder / f"{number:03d}-program-{program:03d}-note-{pitch}.wav", note)
        else:
            silent += 1
    print(f"wrote {len(notes) - silent} notes to {arguments.folder}; {silent} are not in the sound font")


def choose_notes(count: int) -> list[tuple[int, int]]:
    """Return programs, each as often as the others, and random pitches."""
    pitches = np.random.default_rng(0).integers(*PITCHES, size=count, endpoint=True).tolist()
    return [(number * PROGRAMS // count, pitch) for number, pitch in enumerate(pitches)]


def midi_file(notes: list[tuple[int, int]]) -> bytes:
    """Return a MIDI file of one track that plays one note after the other."""
    held, rest = round(HELD_S * TICKS_PER_S), round((NOTE_S - HELD_S) * TICKS_PER_S)
    track = bytearray()
    for number, (program, pitch) in enumerate(notes):
        track += ticks(rest if number else 0) + bytes([0xC0, program])
        track += ticks(0) + bytes([0x90, pitch, VELOCITY]) + ticks(held) + bytes([0x80, pitch, 0])
    track += ticks(rest) + b"\xff\x2f\x00"
    header = b"MThd" + (6).to_bytes(4, "big") + b"\0\0\0\1" + (TICKS_PER_S // 2).to_bytes(2, "big")
    return header + b"MTrk" + len(track).to_bytes(4, "big") + bytes(track)


def ticks(count: int) -> bytes:
    """Return a time as MIDI's number of variable length: 7 bits a byte, the highest bit set in all but the last."""
    groups = [count & 0x7F]
    while count := count >> 7:
        groups.insert(0, count & 0x7F | 0x80)
    return bytes(groups)


def play(midi: bytes, sound_font: Path) -> np.ndarray:
    """Return FluidSynth's sound, int16 ``(samples, 2)``."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "notes.mid"), Path(folder, "notes.wav")
        source.write_bytes(midi)
        options = ["-ni", "-q", "-R", "0", "-C", "0", "-g", "0.8", "-r", str(SAMPLE_RATE_HZ), "-F", str(target)]
        subprocess.run(["fluidsynth", *options, str(sound_font), str(source)], check=True, capture_output=True)
        with wave.open(str(target)) as file:
            return np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, file.getnchannels())


def write_wav(file: Path, audio: np.ndarray) -> None:
    """Write int16 ``(samples, channels)``."""
    with wave.open(str(file), "wb") as target:
        target.setnchannels(audio.shape[1])
        target.setsampwidth(2)
        target.setframerate(SAMPLE_RATE_HZ)
        target.writeframes(audio.tobytes())


if __name__ == "__main__":
    main()
