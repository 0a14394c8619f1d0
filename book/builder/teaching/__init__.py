"""What a class needs, made of the chapters: homework to hand out, and its marking."""
