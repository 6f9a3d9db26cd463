"""A few lines in each of ten scripts and styles, written for this course: what a tokenizer must cope with.

`SAMPLES` maps the name of the script or style to its text.
"""

SAMPLES = {
    "english": (
        "The river was high after a week of rain, and nobody on the "
        "bridge could say when it would fall again. "
        "An old woman counted the boats: eleven, twelve, then none. "
        '"They\'ll be back before dark," she said, '
        "as if the water had asked her."
    ),
    "german": (
        "Im Wartesaal des Kleinstadtbahnhofs saßen zwölf Reisende, "
        "und keiner kannte die Abfahrtszeit. Schließlich "
        "öffnete der Bahnhofsvorsteher das Fenster: „Der Frühzug "
        "fährt heute später, aber er fährt.“ Ein "
        "Geschwindigkeitsrekord wurde es nicht."
    ),
    "french": (
        "L'été dernier, ma sœur a retrouvé une lettre qu'elle "
        "n'avait jamais ouverte. Il n'y avait là ni reproche ni "
        "adieu : seulement la recette d'un gâteau aux pêches, écrite "
        "à la hâte, et la promesse d'être de retour "
        "avant Noël."
    ),
    "greek": (
        "Το πρωί ο ψαράς κοίταξε τον ουρανό και αποφάσισε να μη βγει "
        "στη θάλασσα. Το μεσημέρι ο άνεμος είχε κοπάσει, "
        "όμως εκείνος επισκεύαζε ακόμη τα δίχτυα του και τραγουδούσε χαμηλόφωνα."
    ),
    "russian": (
        "Зимой в нашем дворе рано темнеет, и дети зовут друг друга, "
        "стоя у подъездов. Кто-то оставил на скамейке "
        "красные варежки; снег падал на них до самого вечера, пока их не забрала соседка."
    ),
    "chinese": (
        "山脚下有一家小茶馆,门口挂着一盏旧灯笼。下雨的时候,路过的人都进来坐一会儿,喝一杯热茶,听老板讲年轻时修铁路的故事。"
    ),
    "hindi": (
        "गाँव के कुएँ के पास एक पुराना पेड़ है। गर्मियों में बच्चे "
        "उसकी छाया में बैठकर कहानियाँ सुनते हैं, "
        "और शाम को सब अपने-अपने घर लौट जाते हैं।"
    ),
    "arabic": (
        "في السوق القديم يبيع رجل ساعات لا تعمل، ويقول لكل زبون إن "
        "الوقت لا يهم كثيرا. يبتسم الناس، "
        "ثم ينظرون إلى هواتفهم ويسرعون في طريقهم."
    ),
    "code": (
        "def moving_average(values, width=3):\n"
        '    """Mean of each run of `width` neighbours."""\n'
        "    sums = [0.0]\n"
        "    for value in values:\n"
        "        sums.append(sums[-1] + value)\n"
        "    return [(b - a) / width for a, b in zip(sums, sums[width:])]\n"
        "\n"
        "if __name__ == '__main__':\n"
        "\tprint(moving_average([1, 4, 9, 16, 25]))  # [4.666..., 9.666..., 16.666...]\n"
    ),
    "emoji": (
        "Landed! 🛬 Lisbon is 31 °C ☀️ and the whole team is here: 👩🏽‍🔬👨‍💻🧑‍🚀. Dinner at 8? 🍝🍷 "
        "Bring the 🇵🇹 guidebook… and earplugs 😴😂 — café ≠ café (the second é is two characters)."
    ),
}
