/* SHAP values with the instructions that every machine of the architecture has: SSE2, or NEON. */
#define VARIANT 0
#define KERNEL xgbpatch_baseline
#include "contributions.h"
