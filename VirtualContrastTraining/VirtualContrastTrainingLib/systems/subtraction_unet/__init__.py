"""The U-Net that predicts subtraction images."""
