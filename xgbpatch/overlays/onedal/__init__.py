"""The feature `daal4py`: predictions and contributions by oneDAL, where they are proved equal to the booster's."""
