/* From margins to predictions, as xgboost computes them: single precision, the C library's own expf, the same order.

   Formulas: src/common/math.h (Sigmoid, Softmax) and src/objective/regression_loss.h of xgboost. */

#include <math.h>

#include "library.h"

enum { SIGMOID, SIGMOID_CLAMPED, EXPONENTIAL, SOFTMAX };

/* rows x outputs margins in place; returns 0, or 1 for an unknown kind. */
EXPORT int32_t xgbpatch_link(int32_t kind, float *values, int64_t rows, int64_t outputs) {
    int64_t count = rows * outputs;
    switch (kind) {
    case SIGMOID:
        for (int64_t i = 0; i < count; i++) values[i] = 1.0f / (expf(-values[i]) + 1.0f);
        return 0;
    case SIGMOID_CLAMPED: /* of later releases, so that the exponential stays finite */
        for (int64_t i = 0; i < count; i++) {
            float negative = -values[i] < 88.7f ? -values[i] : 88.7f;
            values[i] = 1.0f / (expf(negative) + 1.0f + 1e-16f);
        }
        return 0;
    case EXPONENTIAL:
        for (int64_t i = 0; i < count; i++) values[i] = expf(values[i]);
        return 0;
    case SOFTMAX:
        for (float *row = values; row < values + count; row += outputs) {
            float most = row[0];
            for (int64_t i = 1; i < outputs; i++) most = row[i] > most ? row[i] : most;
            double sum = 0.0;
            for (int64_t i = 0; i < outputs; i++) {
                row[i] = expf(row[i] - most);
                sum += row[i];
            }
            for (int64_t i = 0; i < outputs; i++) row[i] /= (float)sum;
        }
        return 0;
    }
    return 1;
}
