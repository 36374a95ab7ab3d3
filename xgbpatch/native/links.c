/* From margins to predictions, as xgboost's objectives do it: single precision, the C library's own exponential. Which of
 * the variants an xgboost has is found out by comparing (overlays/model/accelerator.py).
 *
 * https://xgboost.readthedocs.io/en/stable/parameter.html#learning-task-parameters */
#include <math.h>

#include "library.h"

enum { LOGISTIC, BOUNDED_LOGISTIC, EXPONENTIAL, SOFTMAX };

#define LARGEST 88.7f /* the exponential of more is infinite */

static void softmax(const float *margins, int64_t outputs, float *predictions) {
    float largest = margins[0];
    for (int64_t i = 1; i < outputs; i++) largest = fmaxf(margins[i], largest);
    double sum = 0;
    for (int64_t i = 0; i < outputs; i++) {
        predictions[i] = expf(margins[i] - largest);
        sum += predictions[i];
    }
    for (int64_t i = 0; i < outputs; i++) predictions[i] /= (float)sum;
}

EXPORT void xgbpatch_link(int32_t kind, const float *margins, int64_t rows, int64_t outputs, float *predictions) {
    if (kind == SOFTMAX) {
        for (int64_t row = 0; row < rows; row++) softmax(margins + row * outputs, outputs, predictions + row * outputs);
        return;
    }
    for (int64_t i = 0; i < rows * outputs; i++) {
        float margin = margins[i];
        if (kind == EXPONENTIAL) {
            predictions[i] = expf(margin);
            continue;
        }
        float exponent = kind == BOUNDED_LOGISTIC ? fminf(-margin, LARGEST) : -margin;
        predictions[i] = 1.0f / (expf(exponent) + 1.0f);
    }
}
