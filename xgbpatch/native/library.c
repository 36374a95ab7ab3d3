/* What the library says of itself. */
#include "library.h"

/* The digest of the sources it was made from, which build.py looks for in the file. */
EXPORT const char xgbpatch_sources[] = "xgbpatch-sources:" XGBPATCH_SOURCES;

EXPORT int32_t xgbpatch_abi(void) { return XGBPATCH_ABI; }
