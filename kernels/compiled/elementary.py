"""Elementary functions that vectorise: single precision by polynomials within a few ulp, double by the C library.

NaN gives NaN and overflow infinity, as in NumPy; results below 2.5e-38 may be 0.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from kernels.compiled.jit import by_precision

f4: Final = np.float32
i4: Final = np.int32

# exp: Cephes expf; the argument is reduced by k ln 2 in two pieces
_LOG2E, _LN2_HIGH, _LN2_LOW = f4(1.44269504), f4(0.693359375), f4(-2.12194440e-4)
_E6, _E5, _E4 = f4(1.9875691500e-4), f4(1.3981999507e-3), f4(8.3334519073e-3)
_E3, _E2, _E1 = f4(4.1665795894e-2), f4(1.6666665459e-1), f4(0.5)
_LEAST, _MOST = f4(-86.6), f4(88.722839)
_ZERO, _HALF, _ONE, _TWO, _INF = f4(0), f4(0.5), f4(1), f4(2), f4(np.inf)

# tanh: the rational function of Eigen, odd over even, for |x| up to where float32 rounds to 1
_T_MOST = f4(7.90531110763549805)
_T1, _T3, _T5, _T7 = (
    f4(4.89352455891786e-03),
    f4(6.37261928875436e-04),
    f4(1.48572235717979e-05),
    f4(5.12229709037114e-08),
)
_T9, _T11, _T13 = f4(-8.60467152213735e-11), f4(2.00018790482477e-13), f4(-2.76076847742355e-16)
_U0, _U2, _U4, _U6 = (
    f4(4.89352518554385e-03),
    f4(2.26843463243900e-03),
    f4(1.18534705686654e-04),
    f4(1.19825839466702e-06),
)

# log: Cephes logf
_ROOT_HALF = f4(0.707106781186547524)
_L0, _L1, _L2 = f4(7.0376836292e-2), f4(-1.1514610310e-1), f4(1.1676998740e-1)
_L3, _L4, _L5 = f4(-1.2420140846e-1), f4(1.4249322787e-1), f4(-1.6668057665e-1)
_L6, _L7, _L8 = f4(2.0000714765e-1), f4(-2.4999993993e-1), f4(3.3333331174e-1)

# expm1 near 0: the series up to x**8
_S3, _S4, _S5, _S6, _S7, _S8 = (f4(1 / math.factorial(n)) for n in range(3, 9))


def _exp_double(x: Any) -> Any:
    return math.exp(x)


def _exp_single(x: Any) -> Any:
    k = np.floor(min(max(x, _LEAST), _MOST) * _LOG2E + _HALF)
    t = min(max(x, _LEAST), _MOST) - k * _LN2_HIGH - k * _LN2_LOW
    p = ((((_E6 * t + _E5) * t + _E4) * t + _E3) * t + _E2) * t + _E1
    y = (p * t * t + t + _ONE) * i4((i4(k) + 126) << 23).view(f4) * _TWO
    y = _INF if x > _MOST else y
    y = _ZERO if x < _LEAST else y
    return y if x == x else x


def _tanh_double(x: Any) -> Any:
    return math.tanh(x)


def _tanh_single(x: Any) -> Any:
    t = -_T_MOST if x < -_T_MOST else x
    t = _T_MOST if t > _T_MOST else t
    q = t * t
    odd = (((((_T13 * q + _T11) * q + _T9) * q + _T7) * q + _T5) * q + _T3) * q + _T1
    even = ((_U6 * q + _U4) * q + _U2) * q + _U0
    y = t * odd / even
    y = _ONE if x > _T_MOST else y
    return -_ONE if x < -_T_MOST else y


def _log_double(x: Any) -> Any:
    return np.log(x)


def _log_single(x: Any) -> Any:
    bits = f4(x).view(i4)
    exponent = f4((bits >> 23) - 126)
    m = i4((bits & 0x7FFFFF) | 0x3F000000).view(f4)
    low = m < _ROOT_HALF
    exponent = exponent - _ONE if low else exponent
    m = m + m - _ONE if low else m - _ONE
    q = m * m
    p = (((((((_L0 * m + _L1) * m + _L2) * m + _L3) * m + _L4) * m + _L5) * m + _L6) * m + _L7) * m + _L8
    y = m * q * p + exponent * _LN2_LOW - _HALF * q
    y = m + y + exponent * _LN2_HIGH
    y = -_INF if x == _ZERO else y
    y = x if x == _INF else y
    return y if x >= _ZERO else x - x + f4(np.nan)


def _log1p_double(x: Any) -> Any:
    return np.log1p(x)


def _log1p_single(x: Any) -> Any:
    u = _ONE + x
    y = log(u) * (x / (u - _ONE))  # Kahan: the rounding of 1 + x divides out
    y = x if u == _ONE else y
    return x if x == _INF else y


def _expm1_double(x: Any) -> Any:
    return math.expm1(x)


def _expm1_single(x: Any) -> Any:
    series = (((((_S8 * x + _S7) * x + _S6) * x + _S5) * x + _S4) * x + _S3) * x * x * x + _HALF * x * x + x
    return series if abs(x) < _HALF else exp(x) - _ONE


@by_precision(_exp_single, _exp_double)
def exp(x: float) -> float:
    """e**x."""
    return math.exp(x)


@by_precision(_tanh_single, _tanh_double)
def tanh(x: float) -> float:
    """The hyperbolic tangent."""
    return math.tanh(x)


@by_precision(_log_single, _log_double)
def log(x: float) -> float:
    """The natural logarithm; -inf at 0, NaN below."""
    return math.log(x)


@by_precision(_log1p_single, _log1p_double)
def log1p(x: float) -> float:
    """ln(1 + x), precise near 0."""
    return math.log1p(x)


@by_precision(_expm1_single, _expm1_double)
def expm1(x: float) -> float:
    """e**x - 1, precise near 0."""
    return math.expm1(x)
