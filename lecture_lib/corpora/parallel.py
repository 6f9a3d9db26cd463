"""The same paragraph in eight languages, written for this course: what one and the same content costs in tokens.

Only texts that say the same can be compared across languages; `samples` holds different texts in many scripts.
"""

PARALLEL = {
    "English": (
        "In the evening the whole family sits at the table. "
        "My sister reads a letter from our grandmother, who lives by the sea. "
        "She writes that the winter was long, but that the boats are going out again. "
        "We all want to visit her in the summer."
    ),
    "French": (
        "Le soir, toute la famille est assise à table. "
        "Ma sœur lit une lettre de notre grand-mère, qui habite au bord de la mer. "
        "Elle écrit que l'hiver a été long, mais que les bateaux repartent. "
        "Nous voulons tous lui rendre visite en été."
    ),
    "Spanish": (
        "Por la noche toda la familia se sienta a la mesa. "
        "Mi hermana lee una carta de nuestra abuela, que vive junto al mar. "
        "Escribe que el invierno fue largo, pero que los barcos vuelven a salir. "
        "Todos queremos visitarla en verano."
    ),
    "German": (
        "Am Abend sitzt die ganze Familie am Tisch. "
        "Meine Schwester liest einen Brief von unserer Großmutter vor, die am Meer wohnt. "
        "Sie schreibt, dass der Winter lang war, dass aber die Boote wieder hinausfahren. "
        "Wir alle wollen sie im Sommer besuchen."
    ),
    "Russian": (
        "Вечером вся семья сидит за столом. "
        "Моя сестра читает письмо от нашей бабушки, которая живёт у моря. "
        "Она пишет, что зима была долгой, но что лодки снова выходят в море. "
        "Мы все хотим навестить её летом."
    ),
    "Greek": (
        "Το βράδυ όλη η οικογένεια κάθεται στο τραπέζι. "
        "Η αδελφή μου διαβάζει ένα γράμμα από τη γιαγιά μας, που μένει κοντά στη θάλασσα. "
        "Γράφει ότι ο χειμώνας ήταν μακρύς, αλλά ότι τα καράβια βγαίνουν πάλι. "
        "Όλοι θέλουμε να την επισκεφτούμε το καλοκαίρι."
    ),
    "Hindi": (
        "शाम को पूरा परिवार मेज़ पर बैठता है। "
        "मेरी बहन हमारी दादी का पत्र पढ़ती है, जो समुद्र के किनारे रहती हैं। "
        "वे लिखती हैं कि सर्दी लंबी थी, लेकिन नावें फिर से निकल रही हैं। "
        "हम सब गर्मियों में उनसे मिलना चाहते हैं।"
    ),
    "Chinese": "晚上,全家人坐在桌旁。我姐姐读着祖母的信,祖母住在海边。她写道,冬天很长,但船又出海了。我们都想在夏天去看望她。",
}
