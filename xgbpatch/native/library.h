/* What every source of the library shares. */
#ifndef XGBPATCH_LIBRARY_H
#define XGBPATCH_LIBRARY_H

#include <stdint.h>

/* Raised with every change of a function's arguments or meaning; overlays/native/__init__.py holds the same number. */
#define XGBPATCH_ABI 4

#define EXPORT __attribute__((visibility("default")))

#endif
