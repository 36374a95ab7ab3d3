/* Numbers to text: the shortest decimal that reads as the same number, in the layout of Python's repr.
 *
 * The digits are Schubfach's: Raffaello Giulietti, The Schubfach way to render doubles (2020). Of all decimals that round
 * to the number it takes the shortest, and of these the nearest. Nothing here asks the locale.
 */
#include <string.h>

#include "library.h"
#include "powers.h"

typedef unsigned __int128 uint128;

struct decimal {
    uint64_t digits; /* the number is digits * 10^exponent */
    int32_t exponent;
};

/* c * 2^q, of `width` bits: what is the same for float and double. */
struct binary {
    uint64_t c;
    int32_t q;
    int32_t power_of_two; /* the number below is only half as far as the one above */
};

static struct binary split_float(uint32_t bits)
{
    uint32_t exponent = bits >> 23 & 0xff, fraction = bits & 0x7fffff;
    if (exponent == 0)
        return (struct binary){fraction, -149, 0};
    return (struct binary){fraction | 0x800000, (int32_t)exponent - 150, fraction == 0 && exponent > 1};
}

static struct binary split_double(uint64_t bits)
{
    uint64_t exponent = bits >> 52 & 0x7ff, fraction = bits & 0xfffffffffffff;
    return (struct binary){fraction | (uint64_t)1 << 52, (int32_t)exponent - 1075, fraction == 0 && exponent > 1};
}

/* floor(c * g / 2^64) with g the first 64 bits of a power of ten; its last bit is set where the division leaves a rest. */
static uint64_t scaled_float(const struct power *power, uint64_t c)
{
    uint128 product = (uint128)(power->high + (power->low != 0)) * c;
    return (uint64_t)(product >> 64) | ((uint64_t)product >> 32 > 1);
}

/* The same with all 128 bits. */
static uint64_t scaled_double(const struct power *power, uint64_t c)
{
    uint128 low = (uint128)power->low * c, high = (uint128)power->high * c + (uint64_t)(low >> 64);
    return (uint64_t)(high >> 64) | ((uint64_t)high > 1);
}

static inline struct decimal shortest(struct binary number, uint64_t (*scaled)(const struct power *, uint64_t))
{
    uint64_t c = number.c;
    int32_t q = number.q;
    if (q <= 0 && q > -53 && (c & (((uint64_t)1 << -q) - 1)) == 0) /* an integer is its own shortest text */
        return (struct decimal){c >> -q, 0};
    int32_t k = (q * 1262611 - (number.power_of_two ? 524031 : 0)) >> 22; /* floor(log10 of the interval's width) */
    int32_t shift = q + binary_exponent(-k) + 1;
    const struct power *power = &POWERS[-k - POWERS_FROM];
    uint64_t value = scaled(power, 4 * c << shift), odd = c & 1; /* the ends of an odd number's interval round away */
    uint64_t lower = scaled(power, (4 * c - 2 + number.power_of_two) << shift) + odd;
    uint64_t upper = scaled(power, (4 * c + 2) << shift) - odd;
    uint64_t s = value / 4;
    if (s >= 10) {
        uint64_t tens = s / 10;
        int below = lower <= 40 * tens, above = 40 * tens + 40 <= upper;
        if (below != above)
            return (struct decimal){tens + (uint64_t)above, k + 1};
    }
    int below = lower <= 4 * s, above = 4 * s + 4 <= upper;
    if (below != above)
        return (struct decimal){s + (uint64_t)above, k};
    uint64_t middle = 4 * s + 2;
    return (struct decimal){s + (value > middle || (value == middle && (s & 1))), k};
}

static char *put(char *out, const char *text)
{
    size_t length = strlen(text);
    memcpy(out, text, length);
    return out + length;
}

static const char PAIRS[] = "0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849"
                            "5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

/* Copies `count` digits, of few always 16 characters: a length that the compiler does not know takes longer. */
static inline void copy(char *out, const char *digits, int32_t count)
{
    if (count <= 9)
        memcpy(out, digits, 16);
    else
        memcpy(out, digits, (size_t)count);
}

/* Python's layout: plain from 0.0001 up to 16 digits before the point, else with an exponent of two digits. */
static char *put_decimal(char *out, struct decimal number)
{
    while (number.digits % 10 == 0) {
        number.digits /= 10;
        number.exponent++;
    }
    char text[40]; /* digits end in the middle: `copy` may read on */
    char *const end = text + 24, *digits = end;
    uint64_t many = number.digits;
    for (; many > UINT32_MAX; many /= 10)
        *--digits = (char)('0' + many % 10);
    uint32_t rest = (uint32_t)many;
    for (; rest >= 100; rest /= 100) {
        digits -= 2;
        memcpy(digits, PAIRS + 2 * (rest % 100), 2);
    }
    if (rest >= 10) {
        digits -= 2;
        memcpy(digits, PAIRS + 2 * rest, 2);
    } else {
        *--digits = (char)('0' + rest);
    }
    memset(end, 0, 16);
    int32_t count = (int32_t)(end - digits), point = count + number.exponent;
    if (point < -3 || point > 16) {
        *out++ = digits[0];
        if (count > 1) {
            *out++ = '.';
            copy(out, digits + 1, count - 1);
            out += count - 1;
        }
        int32_t exponent = point - 1;
        *out++ = 'e';
        *out++ = exponent < 0 ? '-' : '+';
        exponent = exponent < 0 ? -exponent : exponent;
        *out++ = (char)('0' + exponent / 10);
        *out++ = (char)('0' + exponent % 10);
    } else if (point <= 0) {
        memcpy(out, "0.000", 5);
        out += 2 - point;
        copy(out, digits, count);
        out += count;
    } else if (point < count) {
        copy(out, digits, point);
        out += point;
        *out++ = '.';
        copy(out, digits + point, count - point);
        out += count - point;
    } else {
        copy(out, digits, count);
        out += count;
        for (; count < point; count++)
            *out++ = '0';
        memcpy(out, ".0", 2);
        out += 2;
    }
    return out;
}

/* The one float32 whose shortest text, 7.038531e-26, gives its neighbour where it is read as a double and then rounded. */
enum { TWICE_ROUNDED = 0x15ae43fd };

static char *put_number(char *out, float value, int widened, const char *nan, const char *infinity)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t size = bits & 0x7fffffff;
    if (size > 0x7f800000)
        return put(out, nan);
    if (bits >> 31)
        *out++ = '-';
    if (size == 0x7f800000)
        return put(out, infinity);
    if (size == 0)
        return put(out, "0.0");
    if (!widened && size != TWICE_ROUNDED)
        return put_decimal(out, shortest(split_float(size), scaled_float));
    double wide;
    uint64_t wide_bits;
    memcpy(&value, &size, sizeof value);
    wide = value;
    memcpy(&wide_bits, &wide, sizeof wide_bits);
    return put_decimal(out, shortest(split_double(wide_bits), scaled_double));
}

/* Writes `rows` times `columns` float32 to `out`: `before` a row, `between` its numbers, `after` it; NUL-terminated.
 *
 * `widened`: digits that give the double of the same value, as Python writes a float32 that it made a float; else those
 * that give the float32. `lines` (may be NULL) has text that stands before each row, a line of it. `out` has room for
 * 40 bytes a number and the longest of `nan` and `infinity`, and for the other texts; what is behind the text may be
 * written too. `ends` (may be NULL) gets where each row ends. Returns the number of bytes written.
 */
EXPORT int64_t xgbpatch_write(const float *values, int64_t rows, int64_t columns, int32_t widened, const char *lines,
                              const char *before, const char *between, const char *after, const char *nan, const char *infinity, char *out,
                              int64_t *ends)
{
    char *begin = out;
    const size_t gap = strlen(between);
    for (int64_t row = 0; row < rows; row++) {
        if (lines) {
            size_t length = strcspn(lines, "\n");
            memcpy(out, lines, length);
            out += length;
            lines += length + (lines[length] == '\n');
        }
        out = put(out, before);
        for (int64_t column = 0; column < columns; column++) {
            if (column && gap == 1)
                *out++ = *between;
            else if (column)
                out = put(out, between);
            out = put_number(out, *values++, widened, nan, infinity);
        }
        out = put(out, after);
        if (ends)
            ends[row] = out - begin;
    }
    return out - begin;
}
