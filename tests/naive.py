"""The oracle: cells, readouts, optimisers and the learning schedule in plain float64 NumPy.

Written from the equations, one frame at a time, for clarity and not for speed. It shares no code with the library.
Vectors are rows, `z = x @ W_xh + h @ W_hh + b_h`, and a token is the one-hot vector it stands for.
"""

import itertools
from collections import defaultdict, deque
from decimal import Decimal, getcontext
from types import SimpleNamespace

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def as_vector(x, size):
    """A vector in float64, or the one-hot vector of a token."""
    return np.eye(size)[x] if np.ndim(x) == 0 else np.asarray(x, np.float64)


class Module:
    """Named parameters with their gradients and whatever the optimiser remembers of each."""

    def __init__(self, params):
        self.params = {name: np.array(value, np.float64) for name, value in params.items()}
        self.grads = self.zeros()
        self.memory = defaultdict(dict)

    def zeros(self):
        return {name: np.zeros_like(value) for name, value in self.params.items()}

    def take_grads(self):
        """The gradients gathered so far; gathering starts again from zero."""
        taken, self.grads = self.grads, self.zeros()
        return taken


# --- cells -----------------------------------------------------------------------------------------------------------


class Cell(Module):
    """A recurrent cell. A subclass gives the recurrence and its derivative; the layer's own output is added here.

    `forward` takes the state of the frame before and returns the output, the new state and a frame: everything
    that `backward` needs to know of this time step.
    """

    def start(self):
        """The state before the first frame."""
        return {"h": np.zeros(len(self.params["W_hh"]))}

    def forward(self, x, state):
        x = as_vector(x, len(self.params["W_xh"]))
        frame = SimpleNamespace(x=x, old=state)
        frame.new = self.recur(frame)
        h = frame.new["h"]
        y = h @ self.params["W_hy"] + self.params["b_y"] if "W_hy" in self.params else h
        return y, frame.new, frame

    def backward(self, frames, dys):
        """Add the parameters' gradients of these frames to `grads`; return the gradients of their inputs (n, I).

        The state before the first of the frames counts as a constant, and so does the future after the last.
        """
        dxs = []
        dstate = {name: np.zeros_like(value) for name, value in self.start().items()}
        for frame, dy in zip(reversed(frames), reversed(dys), strict=True):
            if "W_hy" in self.params:
                self.grads["W_hy"] += np.outer(frame.new["h"], dy)
                self.grads["b_y"] += dy
                dy = dy @ self.params["W_hy"].T
            dstate["h"] = dstate["h"] + dy
            dx, dstate = self.unrecur(frame, dstate)
            dxs.append(dx)
        return np.array(dxs[::-1])


class RNN(Cell):
    """h = tanh(x W_xh + h W_hh + b_h)."""

    def recur(self, frame):
        p = self.params
        return {"h": np.tanh(frame.x @ p["W_xh"] + frame.old["h"] @ p["W_hh"] + p["b_h"])}

    def unrecur(self, frame, dnew):
        dz = dnew["h"] * (1 - frame.new["h"] ** 2)
        self.grads["W_xh"] += np.outer(frame.x, dz)
        self.grads["W_hh"] += np.outer(frame.old["h"], dz)
        self.grads["b_h"] += dz
        return dz @ self.params["W_xh"].T, {"h": dz @ self.params["W_hh"].T}


class LSTM(Cell):
    """c = f c + i g, h = o tanh(c); the gates lie in the order i, f, g, o."""

    def start(self):
        return {"h": np.zeros(len(self.params["W_hh"])), "c": np.zeros(len(self.params["W_hh"]))}

    def recur(self, frame):
        p = self.params
        i, f, g, o = np.split(frame.x @ p["W_xh"] + frame.old["h"] @ p["W_hh"] + p["b_h"], 4)
        frame.i, frame.f, frame.g, frame.o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c = frame.f * frame.old["c"] + frame.i * frame.g
        return {"h": frame.o * np.tanh(c), "c": c}

    def unrecur(self, frame, dnew):
        i, f, g, o, tanh_c = frame.i, frame.f, frame.g, frame.o, np.tanh(frame.new["c"])
        dc = dnew["c"] + dnew["h"] * o * (1 - tanh_c**2)
        di = dc * g * i * (1 - i)
        df = dc * frame.old["c"] * f * (1 - f)
        dg = dc * i * (1 - g**2)
        do = dnew["h"] * tanh_c * o * (1 - o)
        dz = np.concatenate([di, df, dg, do])
        self.grads["W_xh"] += np.outer(frame.x, dz)
        self.grads["W_hh"] += np.outer(frame.old["h"], dz)
        self.grads["b_h"] += dz
        return dz @ self.params["W_xh"].T, {"h": dz @ self.params["W_hh"].T, "c": dc * f}


class GRU(Cell):
    """n = tanh(x W_xn + b_n + r (h W_hn + b_hn)), h = (1 - z) n + z h; the gates lie in the order r, z, n."""

    def recur(self, frame):
        p, h = self.params, frame.old["h"]
        xr, xz, xn = np.split(frame.x @ p["W_xh"] + p["b_h"], 3)
        hr, hz, hn = np.split(h @ p["W_hh"], 3)
        frame.r, frame.z, frame.hn = sigmoid(xr + hr), sigmoid(xz + hz), hn + p["b_hn"]
        frame.n = np.tanh(xn + frame.r * frame.hn)
        return {"h": (1 - frame.z) * frame.n + frame.z * h}

    def unrecur(self, frame, dnew):
        r, z, n, h, dh = frame.r, frame.z, frame.n, frame.old["h"], dnew["h"]
        dn = dh * (1 - z) * (1 - n**2)
        dz = dh * (h - n) * z * (1 - z)
        dr = dn * frame.hn * r * (1 - r)
        dx_side = np.concatenate([dr, dz, dn])
        dh_side = np.concatenate([dr, dz, dn * r])
        self.grads["W_xh"] += np.outer(frame.x, dx_side)
        self.grads["W_hh"] += np.outer(h, dh_side)
        self.grads["b_h"] += dx_side
        self.grads["b_hn"] += dn * r
        return dx_side @ self.params["W_xh"].T, {"h": dh * z + dh_side @ self.params["W_hh"].T}


class Peephole(LSTM):
    """The LSTM whose gates see the cell: i and f that of the frame before, o that of this one."""

    def recur(self, frame):
        p, c = self.params, frame.old["c"]
        i, f, g, o = np.split(frame.x @ p["W_xh"] + frame.old["h"] @ p["W_hh"] + p["b_h"], 4)
        frame.i, frame.f, frame.g = sigmoid(i + p["p_i"] * c), sigmoid(f + p["p_f"] * c), np.tanh(g)
        new = frame.f * c + frame.i * frame.g
        frame.o = sigmoid(o + p["p_o"] * new)
        return {"h": frame.o * np.tanh(new), "c": new}

    def unrecur(self, frame, dnew):
        p, i, f, g, o = self.params, frame.i, frame.f, frame.g, frame.o
        old, new = frame.old["c"], frame.new["c"]
        do = dnew["h"] * np.tanh(new) * o * (1 - o)
        dc = dnew["c"] + dnew["h"] * o * (1 - np.tanh(new) ** 2) + do * p["p_o"]
        di, df, dg = dc * g * i * (1 - i), dc * old * f * (1 - f), dc * i * (1 - g**2)
        dz = np.concatenate([di, df, dg, do])
        self.grads["W_xh"] += np.outer(frame.x, dz)
        self.grads["W_hh"] += np.outer(frame.old["h"], dz)
        self.grads["b_h"] += dz
        self.grads["p_i"] += di * old
        self.grads["p_f"] += df * old
        self.grads["p_o"] += do * new
        return dz @ p["W_xh"].T, {"h": dz @ p["W_hh"].T, "c": dc * f + di * p["p_i"] + df * p["p_f"]}


class Coupled(LSTM):
    """The LSTM whose input gate is 1 - f; the gates lie in the order f, g, o."""

    def recur(self, frame):
        p = self.params
        f, g, o = np.split(frame.x @ p["W_xh"] + frame.old["h"] @ p["W_hh"] + p["b_h"], 3)
        frame.f, frame.g, frame.o = sigmoid(f), np.tanh(g), sigmoid(o)
        c = frame.f * frame.old["c"] + (1 - frame.f) * frame.g
        return {"h": frame.o * np.tanh(c), "c": c}

    def unrecur(self, frame, dnew):
        f, g, o, tanh_c = frame.f, frame.g, frame.o, np.tanh(frame.new["c"])
        dc = dnew["c"] + dnew["h"] * o * (1 - tanh_c**2)
        df, dg = dc * (frame.old["c"] - g) * f * (1 - f), dc * (1 - f) * (1 - g**2)
        dz = np.concatenate([df, dg, dnew["h"] * tanh_c * o * (1 - o)])
        self.grads["W_xh"] += np.outer(frame.x, dz)
        self.grads["W_hh"] += np.outer(frame.old["h"], dz)
        self.grads["b_h"] += dz
        return dz @ self.params["W_xh"].T, {"h": dz @ self.params["W_hh"].T, "c": dc * f}


# --- readouts --------------------------------------------------------------------------------------------------------


class Readout(Module):
    """raw = h W_hy + b_y. A subclass gives the published output, the loss and the loss's gradient in raw."""

    def forward(self, h):
        return h @ self.params["W_hy"] + self.params["b_y"]

    def backward(self, h, draw):
        self.grads["W_hy"] += np.outer(h, draw)
        self.grads["b_y"] += draw
        return draw @ self.params["W_hy"].T


class Softmax(Readout):
    def output(self, raw):
        e = np.exp(raw - raw.max())
        return e / e.sum()

    def loss(self, raw, target):
        return np.log(np.exp(raw - raw.max()).sum()) + raw.max() - raw[target]

    def draw(self, raw, target):
        return self.output(raw) - np.eye(len(raw))[target]


class Linear(Readout):
    def output(self, raw):
        return raw

    def loss(self, raw, target):
        return 0.5 * np.sum((raw - target) ** 2)

    def draw(self, raw, target):
        return raw - target

    def judge(self, raw, target, scales, floors):
        """Each channel's loss in scales, and the gradient of their sum; target: in scales, which are 0 if unknown."""
        error = np.where(scales > 0, raw - target, 0.0)
        return 0.5 * error**2, error

    def in_units(self, losses, scales):
        return losses * scales**2


class Gaussian(Readout):
    """raw = [mean, log_std]; the loss is the negative log-likelihood."""

    def output(self, raw):
        mean, log_std = np.split(raw, 2)
        return np.concatenate([mean, np.exp(log_std)])

    def loss(self, raw, target):
        mean, log_std = np.split(raw, 2)
        return np.sum(log_std + 0.5 * ((target - mean) / np.exp(log_std)) ** 2 + 0.5 * np.log(2 * np.pi))

    def draw(self, raw, target):
        mean, log_std = np.split(raw, 2)
        error = (target - mean) / np.exp(log_std)
        return np.concatenate([-error / np.exp(log_std), 1 - error**2])

    def judge(self, raw, target, scales, floors):
        """As for `Linear`: a spread is at least its floor, an error at most 8 of them."""
        mean, log_std = np.split(raw, 2)
        spread = np.maximum(np.exp(log_std), floors)
        error = np.clip((target - mean) / spread, -8, 8)
        slope = np.where((spread > np.exp(log_std)) & (error**2 < 1), 0.0, 1 - error**2)
        losses = np.log(spread) + 0.5 * error**2 + 0.5 * np.log(2 * np.pi)
        known = scales > 0
        return np.where(known, losses, 0.0), np.concatenate([np.where(known, -error / spread, 0.0), known * slope])

    def in_units(self, losses, scales):
        return losses + np.log(np.where(scales > 0, scales, 1.0))


MODULES = {kind.__name__: kind for kind in (RNN, LSTM, GRU, Peephole, Coupled, Softmax, Linear, Gaussian)}


def copy_of(module):
    """The oracle's own module of the same kind and with the same parameters as one of the library's."""
    return MODULES[type(module).__name__](module.params)


# --- forecasts -------------------------------------------------------------------------------------------------------


class LeastSquares:
    """Recursive least squares with weighted errors, with the whole matrix P."""

    def __init__(self, features, diagonal, forgetting):
        self.w, self.P, self.forgetting = np.eye(features)[1], diagonal * np.eye(features), forgetting

    def predict(self, f):
        return np.clip(self.w @ f, -12, 12)

    def learn(self, f, error, weight):
        gain = self.P @ f / (self.forgetting / weight + f @ self.P @ f)
        self.w = self.w + gain * np.clip(error, -8, 8)
        self.P = (self.P - np.outer(gain, f @ self.P)) / self.forgetting


class Horizon:
    """One channel so many frames ahead: what its experts know, and the forecasts whose targets have not come."""

    def __init__(self, frames, known, features, experts, forgetting):
        self.frames, self.seen, self.waiting = frames, 0, []
        self.models = [LeastSquares(known, 0.02, 0.999), LeastSquares(features, 0.05, forgetting)]
        self.weights, self.variances, self.ends = np.full(experts, 1 / experts), np.zeros(experts), [2.0, 2.0]

    def scales(self, floor):
        return np.maximum(np.sqrt(self.variances), max(0.01, floor))


class Forecast:
    """The readout of that name, for one stream. A target that is NaN in a channel is missing there; see `push`."""

    def __init__(self, size, hidden, lags, seasons, horizons, band, others, forgetting, fills=False):
        self.known = np.full(size, not fills)  # channels that have had a value, or may not be missing
        self.size, self.lags, self.seasons, self.others, self.beyond = size, lags, seasons, others, (1 - band) / 2
        known = 1 + lags + 2 * len(seasons) + others * (size - 1)
        self.horizons = [
            [Horizon(k, known, known + hidden, 3 + len(seasons), forgetting) for k in horizons] for _ in range(size)
        ]
        self.begin()

    def begin(self):
        self.values, self.hidden = [[] for _ in range(self.size)], []
        for each in itertools.chain(*self.horizons):
            each.waiting = []

    def value(self, c, age, unknown):
        value = self.values[c][-1 - age] if age < len(self.values[c]) else np.nan
        return unknown if np.isnan(value) else value

    def push(self, c, value, mean):
        """A value; what was forecast, where it is missing, and nothing before the channel's first."""
        if np.isnan(value) and self.known[c]:
            value = self.value(c, 0, mean[c]) + self.horizons[c][0].waiting[-1]["mixed"]
        self.values[c].append(value)

    def season_ages(self, frames, late):
        """Of each season: the age of the value that lies whole periods before the target, and of that of now."""
        ages = [late + period * -(-frames // period) for period in self.seasons]
        return [(age - frames, age) for age in ages]

    def features(self, c, frames, late, mean, scale, own_scales):
        z = lambda channel, age, s: (self.value(channel, age, mean[channel]) - mean[channel]) / s  # noqa: E731
        f = [1.0] + [z(c, late + lag, scale) for lag in range(self.lags)]
        for ages in self.season_ages(frames, late):
            f += [z(c, age, scale) for age in ages]
        if self.others:
            f += [z(o, late, own_scales[o]) if own_scales[o] else 0.0 for o in range(self.size) if o != c]
        return np.array(f + list(self.hidden[-1 - late]))

    def means(self, c, frames, late, base, scale, said):
        seasons = [(self.value(c, ages[0], base) - base) / scale for ages in self.season_ages(frames, late)]
        return np.array([0.0, *seasons, *(each / scale for each in said)])

    def predict(self, h, mean, scales, floors):
        """Of each channel and horizon: mean, spread, lower, upper and weights."""
        if self.hidden and len(self.hidden) > len(self.values[0]):
            for c in range(self.size):
                self.push(c, np.nan, mean)
        self.hidden.append(np.float64(h))
        return [[self.forecast(c, each, mean, scales, floors) for each in self.horizons[c]] for c in range(self.size)]

    def forecast(self, c, each, mean, scales, floors):
        base, s = self.value(c, 0, mean[c]), scales[c]
        note = {"said": [0.0, 0.0], "mixed": 0.0, "lower": 0.0, "upper": 0.0}
        spread = 0.0
        if s > 0:
            f = self.features(c, each.frames, 0, mean, s, scales)
            note["said"] = [(model.predict(f[: len(model.w)]) - f[1]) * s for model in each.models]
            means, sigma = self.means(c, each.frames, 0, base, s, note["said"]), each.scales(floors[c])
            mixed = each.weights @ means
            spread = np.sqrt(each.weights @ (sigma**2 + (means - mixed) ** 2))
            note |= {"mixed": mixed * s, "lower": (mixed - each.ends[0] * spread) * s}
            note |= {"upper": (mixed + each.ends[1] * spread) * s}
        each.waiting = [*each.waiting, note][-each.frames :]
        rises = [note["mixed"], spread * s - base, note["lower"], note["upper"]]
        return np.concatenate([np.array(rises) + base, each.weights])

    def learn(self, target, mean, scales, own_scales, floors, learning=True):
        """The loss of each channel in its scales, nan where it has none, and the gradient of the newest h."""
        losses, dh = np.full(self.size, np.nan), np.zeros_like(self.hidden[-1])
        for c in range(self.size):
            for each in self.horizons[c]:
                if scales[c] > 0 and len(self.hidden) >= each.frames:
                    loss, pull = self.learn_one(c, each, target[c], mean, scales[c], own_scales, floors[c], learning)
                    if each.frames == 1:
                        losses[c], dh = loss, dh + pull
        for c in range(self.size):
            self.known[c] |= not np.isnan(target[c])
            self.push(c, target[c], mean)
        return losses, dh

    def learn_one(self, c, each, target, mean, s, own_scales, floor, learning):
        late, note = each.frames - 1, each.waiting[0]
        base = self.value(c, late, mean[c])
        for end, missed in enumerate([target - base < note["lower"], target - base > note["upper"]]):
            each.ends[end] *= 1 + 0.05 * (missed - self.beyond)
        errors = np.clip((target - base) / s, -1e6, 1e6) - self.means(c, each.frames, late, base, s, note["said"])
        sigma = each.scales(floor)
        density = 2 / (np.pi * np.sqrt(3)) / (sigma * (1 + (errors / sigma) ** 2 / 3) ** 2)
        loss = -np.log(each.weights @ density)
        each.weights = 0.99 * each.weights * density / (each.weights @ density) + 0.01 / len(sigma)
        f = self.features(c, each.frames, late, mean, s, own_scales)
        weigh = lambda error, scale: 1.0 if each.seen < 10 else 6 / (5 + (error / scale) ** 2)  # noqa: E731
        for model, scale in zip(each.models, sigma[-2:], strict=True):
            own = f[: len(model.w)]
            error = (target - mean[c]) / s - model.predict(own)
            pull = -np.clip(weigh(error, scale) * error / scale, -4, 4) * model.w[len(f) - len(self.hidden[-1]) :]
            if learning:
                model.learn(own, error, weigh(error, scale))
        rate = max(1 / (each.seen + 1), 0.02)
        weighed = np.array([weigh(error, scale) for error, scale in zip(errors, sigma, strict=True)])
        each.variances = each.variances + rate * (weighed * errors**2 - each.variances)
        each.seen += 1
        return loss, pull


class Tail:
    """All amounts of a detector."""

    def __init__(self):
        self.amounts = []

    def evidence(self, amount):
        if len(self.amounts) < 100:
            return 0.0
        ordered = sorted(self.amounts)
        top = ordered[int(0.98 * len(ordered)) :]
        if amount <= top[0]:
            return 0.0
        excess = np.mean(top) - top[0]
        return min(6.0, -np.log10(0.02 * np.exp(-(amount - top[0]) / excess))) if excess else 6.0


class Watched:
    """What the detectors know of one channel: every value that was there, in lists."""

    def __init__(self, day):
        self.day, self.places = day, min(day, 288)
        self.frames = 0
        self.values, self.losses, self.levels, self.at = [], [], [], []
        self.means = {k: [] for k in (1, 6, 12, 24)}
        self.tails, self.patience, self.variance = [Tail() for _ in range(10)], np.ones(10), 0.0

    def observe(self, value, error, scale, floor):
        """Amounts and evidence, of ten detectors each."""
        n = len(self.values)
        before = self.values[-1] if n else value
        self.values.append(value)
        self.at.append(self.frames * self.places // self.day)
        self.frames += 1
        amounts = [self.outside(k, np.mean(self.values[-k:])) for k in self.means]
        self.losses.append(self.loss(error / scale, floor, n + 1) + np.log(scale) if scale else 0.0)
        amounts += [np.mean(self.losses[-5:]), np.mean(self.losses[-30:]), abs(value - self.last_week(before))]
        level = np.mean(self.values[-100:])
        earlier = self.levels[-100] if n >= 100 else self.levels[0] if n else level
        self.levels.append(level)
        amounts += [level, -level, abs(level - earlier)]
        evidence = [tail.evidence(amount) for tail, amount in zip(self.tails, amounts, strict=True)] / self.patience
        if n >= 100:
            for tail, amount in zip(self.tails, amounts, strict=True):
                tail.amounts.append(amount)
        return np.array(amounts), evidence

    def miss(self):
        """The same of a frame in which it is missing."""
        self.frames += 1
        return np.zeros(10), np.zeros(10)

    def loss(self, error, floor, seen):
        sigma = max(np.sqrt(self.variance), 0.01, floor)
        weight = 4 / (3 + (error / sigma) ** 2) if seen > 10 else 1.0
        self.variance += max(1 / seen, 0.001) * (weight * error**2 - self.variance)
        return np.log(sigma) + 2 * np.log(1 + (error / sigma) ** 2 / 3)

    def outside(self, k, y):
        past, now = np.array(self.means[k]), self.at[-1]
        at = np.array(self.at[:-1])
        if self.frames <= self.day:
            windows = [past[at >= now - 13]]
        else:
            centres = [now - day * self.places for day in range(1, 15)]
            windows = [past[abs(at - centre) <= 6] for centre in centres]
        self.means[k].append(y)
        excess = [max(y - window.max(), window.min() - y, 0) for window in windows if len(window)]
        return min(excess, default=0.0)

    def last_week(self, before):
        now, at = self.at[-1], np.array(self.at)
        for days in (7, 1):
            then = np.array(self.values)[at == now - days * self.places]
            if len(then):
                return np.mean(then)
        return before


class Judge:
    """What a stream's evidence comes to, and whether its channels have left their normal state."""

    def __init__(self, normal, threshold):
        self.normal, self.threshold = normal, threshold
        self.near = self.usual = self.there = 0
        self.scores, self.rests, self.frames = Tail(), [], 0
        self.departed = self.open = False
        self.newest = self.quiet = 0

    def decide(self, values, evidence):
        """Score, rarity, threshold, event, its age, departure, departed."""
        self.frames += 1
        score = max(each.sum() for each in evidence) / 3
        rarity = self.scores.evidence(score)
        if not np.isnan(values).all():
            self.scores.amounts.append(score)
        threshold = self.threshold + 0.3 * np.log10(max(self.frames, 100) / 3000)
        departure = self.depart(np.array(values))
        event = self.event(score >= threshold or self.departed)
        age = self.frames - self.newest if event else 0
        return [score, rarity, threshold, event, age, departure, self.departed]

    def depart(self, values):
        there = ~np.isnan(values)
        self.there = self.there + there
        first = there & (self.there == 1)
        self.near, self.usual = (np.where(first, values, mean) for mean in (self.near, self.usual))
        self.near = np.where(there, self.near + 0.2 * (values - self.near), self.near)
        if not self.departed:
            rate = np.maximum(1 / np.maximum(self.there, 1), 1 / 400)
            self.usual = np.where(there, self.usual + rate * (values - self.usual), self.usual)
        rest = self.near - self.usual
        if self.frames <= self.normal:
            self.rests.append(rest)
            return 0.0
        known = np.array(self.rests[50:])
        distance = rest @ np.linalg.solve(known.T @ known / len(known), rest) / len(rest)
        self.departed = distance >= (4.5 if self.departed else 9.0)
        return distance

    def event(self, beyond):
        if self.open:
            self.quiet = 0 if beyond else self.quiet + 1
            self.open = self.quiet < 30
            return 2 if self.open else 3
        self.open = beyond and self.frames - self.newest > max(100, 0.03 * self.frames)
        if self.open:
            self.newest, self.quiet = self.frames, 0
        return int(self.open)


# --- optimisers ------------------------------------------------------------------------------------------------------


class Optimizer:
    """`apply` clips by the norm of all the module's gradients together. A gradient that is not finite is skipped."""

    def __init__(self, learning_rate, decay_steps=np.inf, **constants):
        self.learning_rate, self.decay_steps = learning_rate, decay_steps
        self.constants = constants

    def apply(self, module, grads, clip_norm=None):
        norm = np.sqrt(sum(np.sum(g**2) for g in grads.values()))
        if not np.isfinite(norm):
            return
        scale = min(1, clip_norm / norm) if clip_norm and norm else 1
        updates = module.memory["all"]["updates"] = module.memory["all"].get("updates", -1) + 1
        rate = self.learning_rate / (1 + updates / self.decay_steps)
        for name, p in module.params.items():
            p -= rate * self.direction(scale * grads[name], module.memory[name], **self.constants)


class SGD(Optimizer):
    def direction(self, g, memory, momentum=0.0):
        memory["m"] = momentum * memory.get("m", 0) + g
        return memory["m"]


class RMSprop(Optimizer):
    def direction(self, g, memory, decay=0.99, epsilon=1e-8):
        memory["v"] = decay * memory.get("v", 0) + (1 - decay) * g**2
        return g / (np.sqrt(memory["v"]) + epsilon)


class Adagrad(Optimizer):
    def direction(self, g, memory, epsilon=1e-10):
        memory["v"] = memory.get("v", 0) + g**2
        return g / (np.sqrt(memory["v"]) + epsilon)


class Adam(Optimizer):
    def direction(self, g, memory, beta1=0.9, beta2=0.999, epsilon=1e-8):
        memory["t"] = memory.get("t", 0) + 1
        memory["m"] = beta1 * memory.get("m", 0) + (1 - beta1) * g
        memory["v"] = beta2 * memory.get("v", 0) + (1 - beta2) * g**2
        m = memory["m"] / (1 - beta1 ** memory["t"])
        v = memory["v"] / (1 - beta2 ** memory["t"])
        return m / (np.sqrt(v) + epsilon)


# --- the network and its schedule ------------------------------------------------------------------------------------


class Stream:
    def __init__(self, cells):
        self.begin(cells)
        self.begins = False  # the next frame begins a new sequence
        self.window = []  # the frames of the open window
        self.last_loss = np.nan

    def begin(self, cells):
        self.states = [cell.start() for cell in cells]
        self.begins = False


class NaiveNetwork:
    """Truncated back-propagation through time over several streams, from the parameters that `net` has now.

    Windows are numbered as they close and grouped `accumulate` at a time; a group's gradient is applied
    `gradient_delay` group ends after its own. It is always taken with the parameters of the moment its window closed.
    """

    def __init__(self, net, optimizer, window=16, accumulate=1, gradient_delay=0, clip_norm=None, predict="target"):
        self.cells = [copy_of(layer) for layer in net.layers]
        self.readout = copy_of(net.readout)
        self.modules = [*self.cells, self.readout]
        self.optimizer, self.clip_norm = optimizer, clip_norm
        self.window, self.accumulate, self.gradient_delay = window, accumulate, gradient_delay
        self.predict = predict
        self.streams = {}
        self.closed = 0  # windows so far
        self.waiting = deque()  # gradients of the groups that have ended and are not applied yet

    def params(self):
        """The parameters of every layer and last the readout's, each a dict of names."""
        return [module.params for module in self.modules]

    def reset(self, stream=""):
        self.stream(stream).begins = True

    def end(self, stream=""):
        """The sequence ends here: its window closes now, and the next frame begins another."""
        self.close(self.stream(stream))
        self.reset(stream)

    def step(self, x, stream=""):
        """One frame forward. With predict="next", x is first the target of the frame before it in the sequence."""
        s = self.stream(stream)
        if self.predict == "next" and s.window and not s.begins:
            self.score(s, x)
        return self.forward(s, x)

    def learn(self, x, target, stream=""):
        """One frame forward and its target; the loss in nats."""
        s = self.stream(stream)
        self.forward(s, x)
        return self.score(s, target)

    def loss(self, stream=""):
        return self.stream(stream).last_loss

    def stream(self, name):
        return self.streams.setdefault(name, Stream(self.cells))

    def forward(self, s, x):
        full = len(s.window) == self.window
        if full and not s.begins and all(frame.draw is None for frame in s.window):
            del s.window[: (self.window + 1) // 2]  # no target yet: the older half is forgotten
        elif s.begins or full:
            self.close(s)
        if s.begins:
            s.begin(self.cells)
        frame = SimpleNamespace(tape=[], draw=None)
        for k, cell in enumerate(self.cells):
            x, s.states[k], of_cell = cell.forward(x, s.states[k])
            frame.tape.append(of_cell)
        frame.h, frame.raw = x, self.readout.forward(x)
        s.window.append(frame)
        return self.readout.output(frame.raw)

    def score(self, s, target):
        """Score the stream's last frame; the target of a window's last frame closes the window."""
        frame = s.window[-1]
        frame.draw = self.readout.draw(frame.raw, target)
        s.last_loss = self.readout.loss(frame.raw, target)
        if len(s.window) == self.window:
            self.close(s)
        return s.last_loss

    def close(self, s):
        frames, s.window = s.window, []
        targets = sum(frame.draw is not None for frame in frames)
        if not targets:
            return
        dys = [np.zeros_like(f.h) if f.draw is None else self.readout.backward(f.h, f.draw / targets) for f in frames]
        for k, cell in reversed(list(enumerate(self.cells))):
            dys = cell.backward([frame.tape[k] for frame in frames], dys)
        self.closed += 1
        if self.closed % self.accumulate == 0:
            self.end_group()

    def end_group(self):
        self.waiting.append([module.take_grads() for module in self.modules])
        if len(self.waiting) <= self.gradient_delay:
            return
        for module, grads in zip(self.modules, self.waiting.popleft(), strict=True):
            mean = {name: g / self.accumulate for name, g in grads.items()}
            self.optimizer.apply(module, mean, self.clip_norm)


# --- comparing -------------------------------------------------------------------------------------------------------


def flat(params):
    """All the numbers of a dict of arrays, or of a list of such dicts, in order."""
    dicts = [params] if isinstance(params, dict) else params
    return np.concatenate([np.ravel(value).astype(np.float64) for d in dicts for value in d.values()])


def distance(actual, reference):
    """‖actual - reference‖ / ‖reference‖."""
    actual, reference = np.asarray(actual, np.float64), np.asarray(reference, np.float64)
    assert actual.shape == reference.shape
    return np.linalg.norm(actual - reference) / np.linalg.norm(reference)


getcontext().prec = 60


class Channel:
    """Statistics of one channel by the recursion, in decimals of 60 digits."""

    def __init__(self) -> None:
        self.frames = 0
        self.mean = self.variance = Decimal(0)
        self.newest = self.step = None

    def observe(self, x: float) -> None:
        """Take a value in."""
        x, self.frames = Decimal(x), self.frames + 1
        rate = max(1 / Decimal(self.frames), Decimal("1e-3"))
        most = 8 * Decimal(self.scale)
        difference = x - self.mean
        if most:
            difference = min(max(difference, -most), most)
        if self.newest is not None and x != self.newest:
            step = abs(x - self.newest)
            self.step = step if self.step is None else min(step, self.step)
        self.newest = x
        self.mean += rate * difference
        self.variance = (1 - rate) * (self.variance + rate * difference**2)

    @property
    def rounding(self) -> float:
        """Deviation of what lies anywhere within one smallest step."""
        return float(self.step or 0) / 12**0.5

    @property
    def scale(self) -> float:
        """0 as long as it has not moved."""
        return max(float(self.variance.sqrt()), self.rounding)

    def standardized(self, x: float) -> float:
        """In scales from the mean, at most 8."""
        return min(max(float(Decimal(x) - self.mean) / self.scale, -8), 8) if self.scale else 0.0

    def judged(self, x: float) -> tuple[float, float, float]:
        """A target in scales, the scale and the smallest deviation in it."""
        if self.scale:
            return self.standardized(x), self.scale, self.rounding / self.scale
        if self.newest is None or Decimal(x) == self.newest:
            return 0.0, 0.0, 0.0
        step = float(Decimal(x) - self.newest)
        return float(np.sign(step)) * 12**0.5, abs(step) / 12**0.5, 1.0


class Entrance:
    """What the first layer sees of one stream's vectors, of which some numbers are NaN; keeps all that was shown."""

    def __init__(self, size, mask):
        self.mask, self.channels = mask, [Channel() for _ in range(size)]
        self.shown = [[] for _ in range(size)]  # one number or NaN for each frame

    def enter(self, x):
        for channel, shown, value in zip(self.channels, self.shown, x, strict=True):
            if not np.isnan(value):
                channel.observe(value)
            shown.append(np.nan if np.isnan(value) else channel.standardized(value))
        values = [self.filled(np.array(shown)) for shown in self.shown]
        return np.array([*values, *np.isnan(x)] if self.mask else values, np.float64)

    def filled(self, shown):
        """The newest number, or where it is NaN, the last that is not times rho to the frames since."""
        there = np.flatnonzero(~np.isnan(shown))
        if not len(there):
            return 0.0
        then, now = shown[:-1], shown[1:]
        both = ~np.isnan(then + now)
        then, now = then[both], now[both]
        weights = 0.999 ** np.arange(len(then))[::-1]
        squares = weights @ then**2
        rho = np.clip(weights @ (then * now) / squares, 0, 1) if squares > 0 else 1.0
        return rho ** (len(shown) - 1 - there[-1]) * shown[there[-1]]


class FillingNetwork(NaiveNetwork):
    """The same for vectors that are standardised, and whose numbers may be missing, NaN, in inputs and targets."""

    def __init__(self, net, optimizer, mask=False, **settings):
        super().__init__(net, optimizer, **settings)
        self.size, self.mask = net.input_size, mask
        self.targets = net.readout.size

    def stream(self, name):
        s = super().stream(name)
        if not hasattr(s, "entrance"):
            s.entrance, s.channels = Entrance(self.size, self.mask), [Channel() for _ in range(self.targets)]
            s.relative = 0.0  # the loss of the newest target in scales
            s.losses = np.full(self.targets, np.nan)  # of its channels, in the units of the stream
        return s

    def forward(self, s, x):
        return super().forward(s, s.entrance.enter(x))

    def score(self, s, target):
        there = ~np.isnan(target)
        if not there.any():
            return np.nan
        judged = [c.judged(x) if known else (0, 0, 0) for c, x, known in zip(s.channels, target, there, strict=True)]
        target_in_scales, scales, floors = np.array(judged, np.float64).T
        frame = s.window[-1]
        losses, frame.draw = self.readout.judge(frame.raw, target_in_scales, scales, floors)
        s.relative, s.losses = losses.sum(), np.where(there, self.readout.in_units(losses, scales), np.nan)
        s.last_loss = np.nansum(s.losses)
        for channel, value in zip(s.channels, target, strict=True):
            if not np.isnan(value):
                channel.observe(value)
        if len(s.window) == self.window:
            self.close(s)
        return s.last_loss
