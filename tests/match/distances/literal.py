"""The distances as their definitions read, one pair at a time, on librosa and dtw-python in float64."""

import warnings

import librosa
import numpy as np
from dtw import dtw

RATE_HZ = 11025


def mel_db(sound, window_s, hop_s, bands, reference):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of the filters are narrower than a bin, and stay empty
        power = librosa.feature.melspectrogram(
            y=sound, sr=RATE_HZ, n_fft=int(window_s * RATE_HZ), hop_length=int(hop_s * RATE_HZ), n_mels=bands
        )
    return librosa.power_to_db(power, ref=reference)


def mss(target, answer):
    scales = []
    for window_s, hop_s, bands in ((0.01, 0.005, 32), (0.025, 0.01, 64), (0.1, 0.05, 128)):
        one, other = (mel_db(sound, window_s, hop_s, bands, np.max) for sound in (target, answer))
        scales.append(np.abs(one - other).mean())
    return np.mean(scales)


def wmfcc(target, answer, first=0):
    one, other = (
        librosa.feature.mfcc(
            y=sound, sr=RATE_HZ, n_mfcc=20, n_mels=128, n_fft=int(0.05 * RATE_HZ), hop_length=int(0.01 * RATE_HZ)
        )[first:]
        for sound in (target, answer)
    )
    return dtw(np.abs(one.T[:, None] - other.T[None]).mean(axis=2)).normalizedDistance


def sot(target, answer):
    cumulated = []
    for sound in (target, answer):
        magnitudes = np.abs(librosa.stft(sound, n_fft=int(0.05 * RATE_HZ), hop_length=int(0.02 * RATE_HZ)))
        cumulated.append(np.cumsum(magnitudes / np.maximum(magnitudes.sum(axis=0), 1e-6), axis=0))
    return np.abs(cumulated[0] - cumulated[1]).mean(axis=0).mean()


def rms(target, answer):
    one, other = (
        librosa.feature.rms(y=sound, frame_length=int(0.05 * RATE_HZ), hop_length=int(0.025 * RATE_HZ))[0]
        for sound in (target, answer)
    )
    if not one.any() or not other.any():
        return float(not one.any() and not other.any())
    return one @ other / (np.linalg.norm(one) * np.linalg.norm(other))


def lsd(target, answer):
    one, other = (
        20 * np.log10(np.maximum(np.abs(np.fft.rfft(sound[:22040].reshape(20, 1102)))[:, :551], 551e-4))
        for sound in (target, answer)
    )
    return np.mean([np.sqrt(np.mean((one[chunk] - other[chunk]) ** 2)) for chunk in range(20)])


LITERAL = {
    "mss": mss,
    "wmfcc": wmfcc,
    "wmfcc_without_c0": lambda target, answer: wmfcc(target, answer, first=1),
    "sot": sot,
    "rms": rms,
    "lsd": lsd,
}
