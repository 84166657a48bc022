"""The offline pair: two small dual encoders over pretrained towers, their model card and their recipe."""
